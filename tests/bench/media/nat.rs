//! The kernel's own address translation: nftables with connection tracking.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use harness::lab::Place;
use harness::process::output;

use crate::MANY;
use crate::stage::{ENTRY, EXIT, FIRST_PORT, Relay, Stage, Turn, ports, shuffled};

/// Destination and source are translated, one connection per flow.
pub(crate) struct Nat;

/// The rules, which go with their table.
struct Rules {
    namespace: String,
}

impl Turn for Rules {}

impl Relay for Nat {
    fn name(&self) -> String {
        "nftables".to_owned()
    }

    fn enter(&self, stage: &mut Stage) -> Result<Box<dyn Turn>> {
        let to = stage.address(Place::Agent, Place::Vizard)?;
        let from = stage.address(Place::Vizard, Place::Agent)?;
        let namespace = stage.lab.namespace_of(Place::Vizard).context("the lab has namespaces")?;
        let rules = format!(
            "table ip media {{\n\
             chain entry {{ type nat hook prerouting priority dstnat;\n\
             iifname \"{ENTRY}\" udp dport >= {FIRST_PORT} dnat to {to}; }}\n\
             chain exit {{ type nat hook postrouting priority srcnat;\n\
             oifname \"{EXIT}\" udp dport >= {FIRST_PORT} snat to {from}; }}\n\
             }}\n"
        );
        let file = stage.lab.folder().join("media.nft");
        fs::write(&file, rules).with_context(|| format!("cannot write {}", file.display()))?;
        output(stage.lab.at(Place::Vizard, "nft").arg("-f").arg(&file))?;
        let turn = Rules { namespace };
        output(stage.lab.at(Place::Vizard, "sysctl").args(["-qw", "net.ipv4.ip_forward=1"]))?;
        stage.traffic.aim(&shuffled(ports(MANY)))?;
        stage.warm_up(&self.name())?;
        Ok(Box::new(turn))
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        let namespace = self.namespace.as_str();
        for end in
            [&["nft", "delete", "table", "ip", "media"][..], &["sysctl", "-qw", "net.ipv4.ip_forward=0"][..]]
        {
            if let Err(error) = output(Command::new("ip").args(["netns", "exec", namespace]).args(end)) {
                eprintln!("the address translation is left in place: {error:#}");
            }
        }
    }
}
