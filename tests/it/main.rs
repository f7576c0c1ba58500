//! The real thing: the program, its listeners and its store, driven from outside.
//! One binary, so that it is linked once; one module per subject.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![expect(clippy::large_futures, reason = "a test awaits a handful of futures, not thousands")]

mod agent;
mod agent_budget;
mod agent_explain;
mod agent_gate;
mod agent_hold;
mod agent_law;
mod agent_llm;
mod agent_lost;
mod agent_once;
mod agent_redact;
mod agent_redis;
mod agent_replay;
mod agent_sealed;
mod agent_seed;
mod agent_total;
mod agent_wait;
mod answers;
mod applications;
mod applications_http;
mod bearer;
mod browser;
mod cli;
mod codes;
mod cors;
mod differential;
mod drain;
mod endpoints;
mod execute;
mod factor;
mod frames;
mod fuzz;
mod hostile;
mod identity;
mod journey;
mod limits;
mod link;
mod notice_reach;
mod notices;
mod outage;
mod page;
mod passkey;
mod passkey_hostile;
mod policy;
mod races;
mod readers;
mod ratelimit;
mod replicas;
mod rolling;
mod routes;
mod signing;
mod smuggling;
mod sms_login;
mod spoofing;
mod stream;
mod support;
mod tls;
mod upstream;
mod upstream_idle;
mod upstream_names;
mod upstream_times;
mod wire;
