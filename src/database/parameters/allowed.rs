//! Parameters whose hosts are among those that an operator may connect to.

use super::{
    Address, Host, Parameters,
    error::{ParametersError, Place},
};
use crate::core::hosts::{AllowedHosts, NotAllowed};

impl Parameters {
    /// The same, where all of the hosts are allowed as they are written. Names that are allowed by their addresses are judged
    /// when they are looked up.
    pub(super) fn within(mut self, allowed: &AllowedHosts, place: &Place) -> Result<Self, ParametersError> {
        for host in &self.hosts {
            host.consider(allowed).map_err(|why| {
                let host = host.with_port();
                ParametersError::NotAllowed { place: place.clone(), host, why }
            })?;
        }
        self.allowed_hosts = allowed.clone();
        Ok(self)
    }
}

impl Host {
    fn consider(&self, allowed: &AllowedHosts) -> Result<(), NotAllowed> {
        match &self.address {
            Address::Name(name) => allowed.consider(name, self.port),
            // What is connected to, whatever the name beside it says.
            Address::Known { name, ip } => {
                let address = ip.to_string();
                let is_named = *name != address;
                allowed.consider(&address, self.port).map_err(|_| NotAllowed { leads_to: is_named.then_some(*ip) })
            }
            Address::Socket(_) if allowed.is_list() => Err(NotAllowed { leads_to: None }),
            Address::Socket(_) => Ok(()),
        }
    }

    /// As messages show it.
    fn with_port(&self) -> String {
        match &self.address {
            Address::Name(name) | Address::Known { name, ip: _ } if name.contains(':') => {
                format!("[{name}]:{}", self.port)
            }
            Address::Name(name) | Address::Known { name, ip: _ } => format!("{name}:{}", self.port),
            Address::Socket(directory) => directory.display().to_string(),
        }
    }
}
