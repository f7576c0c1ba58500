//! What the metrics say, read back from the rendered text.
//!
//! Law: whatever stands in the output stands in `docs/metrics.md`, and the other way round.

use std::collections::BTreeSet;

use super::*;

/// The names of the metric families in a rendered text.
fn names(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// Metrics in which every family has at least one series.
fn touched() -> Metrics {
    let metrics = Metrics::new("1.2.3");
    let route = metrics.route("read-reports");
    route.allowed();
    route.held();
    route.refused("permission");
    route.finished(Method::Get, Class::Success, Duration::from_millis(3));
    metrics.upstream("reports").health("127.0.0.1:9000", Health::Up);
    metrics.login(LoginMethod::Email, LoginResult::Success);
    metrics.config_loaded("abc");
    metrics.insecure_settings(["http_cookies"]);
    metrics.task_panicked("follower");
    metrics.notice(NoticeChannel::Mail, NoticeOutcome::Delivered);
    metrics
}

#[test]
fn what_a_request_did_is_in_the_text() {
    let text = touched().render();
    for line in [
        "portcullis_build_info{version=\"1.2.3\"} 1",
        "portcullis_requests_total{method=\"GET\",route=\"read-reports\",status=\"2xx\"} 1",
        "portcullis_request_duration_seconds_count{route=\"read-reports\"} 1",
        "portcullis_decisions_total{decision=\"allow\",reason=\"none\",route=\"read-reports\"} 1",
        "portcullis_decisions_total{decision=\"hold\",reason=\"approval\",route=\"read-reports\"} 1",
        "portcullis_decisions_total{decision=\"deny\",reason=\"permission\",route=\"read-reports\"} 1",
        "portcullis_logins_total{method=\"email\",result=\"success\"} 1",
        "portcullis_config_info{sha256=\"abc\"} 1",
        "portcullis_refresh_total{result=\"rotated\"} 0",
        "portcullis_upstream_health{server=\"127.0.0.1:9000\",upstream=\"reports\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn a_reused_refresh_token_counts_as_an_ended_family() {
    let metrics = Metrics::new("0");
    metrics.refresh(RefreshResult::Rotated);
    metrics.refresh(RefreshResult::Reused);
    let text = metrics.render();
    assert!(text.contains("portcullis_refresh_reuse_detected_total 1\n"), "{text}");
    assert!(text.contains("portcullis_refresh_total{result=\"reused\"} 1\n"), "{text}");
}

#[test]
fn a_guard_counts_until_it_is_dropped() {
    let metrics = Metrics::new("0");
    let guards = [metrics.request(), metrics.request()];
    assert!(metrics.render().contains("portcullis_inflight 2\n"));
    drop(guards);
    assert!(metrics.render().contains("portcullis_inflight 0\n"));
}

#[test]
fn a_route_that_nobody_called_is_not_in_the_output() {
    let metrics = Metrics::new("0");
    let before = metrics.render().lines().filter(|line| line.contains("route=")).count();
    for n in 0..1_000 {
        metrics.route(&format!("route-{n}"));
    }
    assert_eq!(before, 0);
    assert!(!metrics.render().contains("route-"));
}

#[test]
fn a_route_that_left_the_configuration_leaves_the_output() {
    let metrics = touched();
    let old = metrics.route("read-reports");
    metrics.route("pay").allowed();
    metrics.keep_only(|name| name == "pay", |_| false);
    old.allowed();
    let text = metrics.render();
    assert!(!text.contains("read-reports"), "{text}");
    assert!(!text.contains("upstream=\"reports\""), "{text}");
    assert!(text.contains("route=\"pay\""), "{text}");
}

#[test]
fn one_name_has_one_handle() {
    let metrics = Metrics::new("0");
    assert!(Arc::ptr_eq(&metrics.route("a"), &metrics.route("a")));
    assert!(Arc::ptr_eq(&metrics.upstream("a"), &metrics.upstream("a")));
}

#[test]
fn only_one_configuration_is_in_force() {
    let metrics = Metrics::new("0");
    metrics.config_loaded("old");
    metrics.config_loaded("new");
    metrics.config_refused();
    let text = metrics.render();
    assert!(!text.contains("sha256=\"old\"") && text.contains("sha256=\"new\""), "{text}");
    assert!(text.contains("portcullis_config_last_reload_success 0\n"), "{text}");
}

#[test]
fn methods_and_statuses_that_nobody_knows_have_one_label() {
    assert_eq!(Method::of("PATCH"), Method::Patch);
    assert_eq!(Method::of("patch"), Method::Other);
    assert_eq!(Method::of("BREW"), Method::Other);
    assert_eq!(Class::of(204), Class::Success);
    assert_eq!(Class::of(0), Class::Cut);
    assert_eq!(Class::of(700), Class::Cut);
}

#[test]
fn the_documentation_lists_every_metric_and_no_other() {
    let page = include_str!("../../docs/metrics.md");
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split(['`', '{']).next())
        .map(str::to_owned)
        .collect();
    let ours = names(&touched().render()).into_iter().filter(|name| name.starts_with("portcullis_"));
    assert_eq!(documented, ours.collect::<BTreeSet<_>>());
}

#[cfg(target_os = "linux")]
#[test]
fn memory_and_processor_time_of_the_process_are_shown() {
    let shown = names(&Metrics::new("0").render());
    for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
        assert!(shown.contains(name), "{name} is not in {shown:?}");
    }
}
