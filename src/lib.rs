//! Portcullis: an authentication gateway for people and AI agents.
//!
//! A reverse proxy stands in front of existing backends. It ends login, refresh and token
//! flows itself, decides about every request, and forwards what it permitted with identity
//! headers that a backend can trust. `ARCHITECTURE.md` tells why it is built this way.
//!
//! # The one structural rule
//!
//! The modules below are listed in one order, and **a module imports only modules listed
//! above it**. The list is the reading order, and `tests/tidy.rs` holds the code to it.
//!
//! # Invariants
//!
//! - `proxy` and `server` are the only modules that name Pingora. `gate` decides, `proxy`
//!   carries out; `gate` is tested with no socket.
//! - `store` is the only module that names sqlx; SQL stands in `store/` and in files called
//!   `store.rs`. `shared` is the only one that names Redis. `config` alone reads files and the
//!   environment (and `cli`, for files named on the command line; `store`, for its own database
//!   file and for where its tests find their servers; `app`, for what the machine says of its memory).
//! - A slice (`account` … `administration`) never reads another slice's tables: it calls that slice's
//!   functions, and only those of slices above it.
//! - Nothing before `http` knows an HTTP status. Nothing between `http` and `gate` knows a route.
//! - No globals: state comes in through `&App` or the request's own context.
//!
//! # Glossary
//!
//! - **account**: a human. **site**: an isolated user base; `default` always exists.
//! - **application**: an API client with an access key and secret.
//! - **organization**, **membership**, **org role**: a tenant, who belongs to it, as what.
//! - **role**, **permission**, **group**: named rights; a permission may have a parent, and who
//!   holds the parent holds the child.
//! - **session**: one login on one device; its id is `sid`; it owns a **refresh family**.
//! - **access token**: a short-lived JWT that names a session; what else it says of a person is for clients to read and decides nothing.
//! - **refresh token**: opaque, stored hashed, used once; presenting a used one ends the family.
//! - **agent token**: what a human delegated to a program: some permissions, within limits, until it ends.
//! - **provider**, **identity**, **connection**: who else may say who somebody is, whom they say it is, and that this opens an account.
//! - **directory**: an LDAP server that takes passwords of people and says who they are.
//! - **one-time code**: six digits sent to an address or number, which prove that it is whose it should be.
//! - **passkey**: a key pair that a person's device keeps; the public half is the account's, and a login signs a challenge.
//! - **approval**: a held request of an agent that waits for a human (on the wire: *pending action*).
//! - **route**: host + path + methods, an upstream and an `allow` policy.
//! - **permit**: the proof, as a type, that a request may be forwarded.
//! - **assertion**: the JWT by which an upstream can verify who calls, without trusting headers.
//! - **epoch**: a number that grows when something about a subject changes; caches compare it.
//! - **change**: one transaction with its audit rows and its place in the gapless change counter.
//! - **catalogue**: every permission, role and group that exists now, from seeds, store and YAML.
//! - **preset**: a named set of defaults (`development`, `medium`, `robust`).

pub mod base;
pub mod crypto;
pub mod policy;
pub mod config;
pub mod store;
pub mod shared;
pub mod audit;
pub mod metrics;
pub mod tasks;
pub mod app;
pub mod notify;
pub mod keys;
pub mod principal;
pub mod http;
pub mod account;
pub mod rbac;
pub mod session;
pub mod application;
pub mod otp;
pub mod organization;
pub mod agent;
pub mod approval;
pub mod notice;
pub mod factor;
pub mod passkey;
pub mod social;
pub mod directory;
pub mod breach;
pub mod login;
pub mod apikey;
pub mod profile;
pub mod privacy;
pub mod trail;
pub mod statistics;
pub mod administration;
pub mod compat;
pub mod web;
pub mod gate;
pub mod proxy;
pub mod server;
pub mod cli;
