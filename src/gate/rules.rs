//! What the edge asks of every request, whichever route it means.
//!
//! Law: taken from the configuration in force once per request, so that a reload never changes the
//! rules under a request that has begun.

use ipnet::IpNet;

use super::target::TargetRules;
use crate::policy::Host;

/// What the edge of this configuration demands of every request.
#[derive(Debug, Clone)]
pub struct EdgeRules {
    /// Names that are answered for, in lower case. Empty: any.
    pub hosts: Vec<Host>,
    pub trusted_proxies: Vec<IpNet>,
    pub target: TargetRules,
    /// Bytes of the header block.
    pub head_max: usize,
    /// Lines of the header block.
    pub fields_max: usize,
    pub hardening: Hardening,
}

/// Whether answers tell browsers to be strict, where the upstream says nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardening {
    Off,
    On,
}
