//! Tasks end when told to, and a panic in one is heard of.
//!
//! Law: no test waits for a fixed time; each waits for what it expects, with a limit.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::*;
use crate::base::random::SeededRandom;

const SOON: Duration = Duration::from_millis(5);
const LONG: Duration = Duration::from_hours(1);

fn tasks() -> (Tasks, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new("0"));
    (Tasks::new(Arc::new(SeededRandom::new(1)), Arc::clone(&metrics)), metrics)
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(1), "it did not come to hold");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_task_that_ended_is_off_the_list() {
    let (tasks, _) = tasks();
    tasks.spawn("short", async {});
    eventually(|| tasks.running().is_empty()).await;
    assert_eq!(tasks.shutdown(LONG).await, Vec::<&str>::new());
}

#[tokio::test]
async fn shutdown_lets_a_task_finish_and_cuts_off_the_one_that_does_not() {
    let (tasks, _) = tasks();
    let finished = Arc::new(AtomicU32::new(0));
    let (mut stopping, count) = (tasks.stopping(), Arc::clone(&finished));
    tasks.spawn("tidy", async move {
        stopping.wait().await;
        count.fetch_add(1, Ordering::SeqCst);
    });
    tasks.spawn("stubborn", std::future::pending());
    assert_eq!(tasks.shutdown(Duration::from_secs(1)).await, ["stubborn"]);
    assert_eq!(finished.load(Ordering::SeqCst), 1);
    eventually(|| tasks.running().is_empty()).await;
}

#[tokio::test]
async fn nothing_starts_once_the_process_is_ending() {
    let (tasks, _) = tasks();
    tasks.shutdown(LONG).await;
    tasks.spawn("late", std::future::pending());
    assert_eq!(tasks.running(), Vec::<&str>::new());
    assert!(tasks.stopping().is_stopping());
}

#[tokio::test]
async fn a_repeated_task_runs_until_shutdown_and_survives_its_panics() {
    let (tasks, metrics) = tasks();
    let runs = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&runs);
    tasks.every("flaky", SOON, SOON, move || {
        let run = count.fetch_add(1, Ordering::SeqCst);
        async move { assert!(run % 2 == 1, "an even run") }
    });
    eventually(|| runs.load(Ordering::SeqCst) >= 4).await;
    assert_eq!(tasks.shutdown(LONG).await, Vec::<&str>::new());
    let panics = u64::from(runs.load(Ordering::SeqCst).div_ceil(2));
    let text = metrics.render();
    assert!(text.contains(&format!("portcullis_task_panics_total{{task=\"flaky\"}} {panics}\n")), "{text}");
}

#[tokio::test]
async fn a_panic_before_the_first_await_is_counted_too() {
    let (tasks, metrics) = tasks();
    tasks.every("eager", LONG, Duration::ZERO, || -> std::future::Ready<()> { panic!("at once") });
    eventually(|| metrics.render().contains("{task=\"eager\"} 1\n")).await;
    assert_eq!(tasks.running(), ["eager"]);
    tasks.shutdown(LONG).await;
}

#[tokio::test]
async fn jitter_stays_within_its_bound() {
    let (tasks, _) = tasks();
    for _ in 0..1_000 {
        assert!(tasks.0.part_of(SOON) <= SOON);
    }
    assert_eq!(tasks.0.part_of(Duration::ZERO), Duration::ZERO);
}
