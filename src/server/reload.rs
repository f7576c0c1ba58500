//! Another configuration while the gateway runs.
//!
//! Law: whatever can fail comes before anything is in force, so that no request meets a configuration
//! that is then refused. What was taken over stands in the audit trail; what only a restart can change
//! is refused by name.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{Bridge, Reach, Running, StartError, announce, endpoints, patience, reached_at};
use crate::audit::{Actor, SystemEvent};
use crate::config::{self, Config, Loaded};
use crate::store::{self, again};
use crate::{keys, rbac};

impl Running {
    /// Takes over another configuration, whole or not at all.
    ///
    /// # Errors
    /// [`StartError`]; the old one stays in force.
    pub async fn reload(&self, loaded: &Loaded) -> Result<(), StartError> {
        let result = self.take_over(loaded).await;
        match &result {
            Ok(()) => announce(&self.app.metrics, loaded),
            Err(_) => self.app.metrics.config_refused(),
        }
        result
    }

    async fn take_over(&self, loaded: &Loaded) -> Result<(), StartError> {
        let (old, new) = (self.app.config(), &reached_at(&loaded.config, self.public));
        if let Some(what) = fixed(&old, new) {
            return Err(StartError::NeedsRestart(what));
        }
        let Bridge { gate, reach, .. } = &*self.bridge;
        let before = reach.load_full();
        let next = Reach::new(new, Some(&before), &self.names, &self.app.metrics, &self.app.tasks).await?;
        let world = gate.prepare(Arc::clone(new), Arc::new(endpoints::public(new)));
        let world = world.map_err(|_| StartError::Routes)?;
        keys::prepare(&self.app, &new.tokens).await.map_err(StartError::Keys)?;
        let definitions = rbac::prepare(&self.app, new.definitions.clone()).await;
        let definitions = definitions.map_err(StartError::Store)?;
        again(|| self.write_down(loaded)).await.map_err(StartError::Store)?;
        // From here on nothing fails, so that nothing was in force of what is refused. While the gate
        // turns over, requests of both configurations find their own upstreams.
        let both = reach.turn(next.after(&before));
        self.app.set_config(Arc::clone(new));
        definitions.put_in_force();
        gate.adopt(world);
        reach.forget_former(both, &self.app.tasks);
        let is_route = |name: &str| {
            matches!(name, "-" | "built-in") || new.routes.iter().any(|route| route.name == name)
        };
        before.shows(false);
        self.app.metrics.keep_only(is_route, |name| new.upstreams.contains_key(name));
        next.shows(true);
        Ok(())
    }

    /// Leaves a row in the audit trail of which configuration comes into force.
    async fn write_down(&self, loaded: &Loaded) -> Result<(), store::Error> {
        let mut change = self.app.change(Actor::system()).await?;
        change.record(SystemEvent::ConfigReloaded { sha256: loaded.sha256.clone() }).await?;
        change.commit().await
    }
}

/// What a reload cannot change, if it tries.
fn fixed(old: &Config, new: &Config) -> Option<&'static str> {
    let same_tls = match (&old.listen.tls, &new.listen.tls) {
        (None, None) => true,
        (Some(old), Some(new)) => {
            (&old.cert_file, &old.key_file, old.redirect) == (&new.cert_file, &new.key_file, new.redirect)
        }
        _ => false,
    };
    let same_addresses = old.listen.public == new.listen.public && old.listen.admin == new.listen.admin;
    if !same_addresses || old.listen.h2c != new.listen.h2c {
        Some("`listen`")
    } else if !same_tls {
        Some("`listen.tls`")
    } else if old.keys.seal_file != new.keys.seal_file {
        Some("`keys`")
    } else if old.store != new.store {
        Some("`store`")
    } else if old.shared != new.shared {
        Some("`shared`")
    } else if patience(old) != patience(new) || connections(old) != connections(new) {
        Some("times and connections under `limits`")
    } else if hashing(old) != hashing(new) {
        Some("the hashing of passwords")
    } else if old.telemetry != new.telemetry {
        Some("`telemetry`")
    } else {
        None
    }
}

/// What the file says; what the system leaves of it does not change.
fn connections(config: &Config) -> (u32, u32, Option<NonZeroU32>) {
    let config::Connections { total, per_address, requests_per_address, .. } = config.limits.connections;
    (total, per_address, requests_per_address)
}

/// The pool of threads is made once, with the cost of what it makes.
fn hashing(config: &Config) -> (Option<usize>, usize, config::Argon2) {
    let config::Hashing { threads, queue } = config.limits.hashing;
    (threads, queue, config.accounts.password.argon2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_a_reload_cannot_change_is_never_taken_over_in_silence() {
        let config = |more: &str| {
            config::load_text(&format!("preset: medium\n{more}")).unwrap_or_else(|p| panic!("{p}")).config
        };
        let old = config("");
        assert_eq!(fixed(&old, &config("sessions: { max: 3 }")), None);
        let pool = |size| config(&format!("store: {{ url: 'sqlite://a.db', connections: {size} }}"));
        assert!(fixed(&pool(3), &pool(4)).is_some());
        let waits = |span| config(&format!("store: {{ url: 'sqlite://a.db', timeout: {span} }}"));
        assert!(fixed(&waits("1s"), &waits("2s")).is_some());
        for more in [
            "listen: { public: '127.0.0.1:9443' }",
            "store: { url: 'sqlite://other.db' }",
            "limits: { connections: { total: 20000 } }",
            "limits: { connections: { requests_per_address: 7 } }",
            "limits: { hashing: { queue: 7 } }",
            "accounts: { password: { argon2: { iterations: 5 } } }",
            "telemetry: { level: debug }",
        ] {
            assert!(fixed(&old, &config(more)).is_some(), "{more}");
        }
    }
}
