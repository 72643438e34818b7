//! Builds the measuring programs, for the media benchmark.

#[cfg(feature = "traffic")]
#[path = "../relay-ebpf/object.rs"]
mod object;

fn main() -> anyhow::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "traffic")]
    object::build("traffic", "traffic-program")?;
    Ok(())
}
