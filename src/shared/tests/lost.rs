//! A Redis that is gone, cut off, or says nothing.
//!
//! Law: whoever asks is told so within a quarter of a second, and it is found again when it is back.

use std::sync::Mutex;
use std::time::Instant;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A way to Redis that can be cut and mended.
struct Cut {
    url: String,
    is_open: Arc<AtomicBool>,
    pipes: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
}

impl Cut {
    async fn in_front_of_redis() -> Self {
        let real = redis_url();
        let (login, target) = match real.trim_start_matches("redis://").rsplit_once('@') {
            Some((login, target)) => (format!("{login}@"), target),
            None => (String::new(), real.trim_start_matches("redis://")),
        };
        let target = target.trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{login}{}", listener.local_addr().unwrap());
        let is_open = Arc::new(AtomicBool::new(true));
        let pipes = Arc::new(Mutex::new(Vec::<tokio::task::AbortHandle>::new()));
        let (open, known) = (Arc::clone(&is_open), Arc::clone(&pipes));
        let mut tasks = JoinSet::new();
        let accept = async move {
            loop {
                let (mut from, _) = listener.accept().await.unwrap();
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                let mut to = TcpStream::connect(&target).await.unwrap();
                let pipe = tasks.spawn(async move { drop(copy_bidirectional(&mut from, &mut to).await) });
                known.lock().unwrap().push(pipe);
            }
        };
        #[expect(clippy::disallowed_methods, reason = "it lives as long as its test")]
        tokio::spawn(accept);
        Self { url, is_open, pipes }
    }

    fn cut(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        self.pipes.lock().unwrap().drain(..).for_each(|pipe| pipe.abort());
    }

    fn mend(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_cut_redis_is_unreachable_soon_and_comes_back_by_itself() {
    let cut = Cut::in_front_of_redis().await;
    let patience = Duration::from_secs(1);
    let shared = redis_within(patience, cut.url.clone(), &format!("test-{}", new_id())).await;
    let windows = [window(100_000, MINUTE)];
    assert!(shared.hit("a", &windows).await.unwrap().is_allowed);
    cut.cut();
    let mut took = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        shared.hit("a", &windows).await.unwrap_err();
        shared.ping().await.unwrap_err();
        took.push(start.elapsed());
    }
    // The machine may be busy elsewhere for a moment, but not each time.
    assert!(took.iter().min() < Some(&(2 * patience + patience / 2)), "{took:?}");
    cut.mend();
    let start = Instant::now();
    while shared.hit("a", &windows).await.is_err() {
        assert!(start.elapsed() < MINUTE, "it did not come back");
    }
}

/// What agents are promised (security bar 2.K 144).
const QUARTER: Duration = Duration::from_millis(250);

/// How long was waited, by a clock that moves only while everybody waits: however slow the machine.
struct Waited(tokio::time::Instant);

impl Waited {
    fn begin() -> Self {
        Self(tokio::time::Instant::now())
    }

    fn for_at_most(&self, span: Duration) -> bool {
        // Timers are good to a millisecond.
        self.0.elapsed() <= span + Duration::from_millis(1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_redis_is_unreachable_within_a_quarter_of_a_second() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), gone] {
        let greeted = Waited::begin();
        let shared = redis_at(format!("redis://{address}"), "test").await;
        assert!(greeted.for_at_most(Duration::from_secs(1)), "{address}");
        let blame = rate::of_one_there_since("a", Timestamp::from_millis(0));
        for _ in 0..3 {
            let waited = Waited::begin();
            shared.meter("a", Quota { requests: 1, per: MINUTE }).await.unwrap_err();
            assert!(waited.for_at_most(QUARTER), "{address}");
            let waited = Waited::begin();
            shared.rate("a", blame, Rate { per_minute: 9, breaches_max: 1 }, None).await.unwrap_err();
            assert!(waited.for_at_most(QUARTER), "{address}");
        }
    }
}
