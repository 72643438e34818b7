//! How build scripts turn a binary of this crate into an object for the kernel.
//!
//! `AYA_BUILD_SKIP=1` leaves an empty object, for lints and documentation;
//! loading it says so.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use aya_build::{Package, Toolchain};

/// The pinned toolchain of `rust-toolchain.toml`, which the linker understands.
const TOOLCHAIN: &str = "1.95.0";

/// Builds the binary `name`, which needs `feature`, into the build script's
/// output folder.
pub(crate) fn build(name: &str, feature: &str) -> Result<()> {
    println!("cargo:rerun-if-changed=../relay-ebpf/object.rs");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if skipped() {
        let object = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?).join(name);
        fs::write(&object, []).with_context(|| format!("writing {}", object.display()))?;
    } else {
        find_linker(&workspace)?;
    }
    // SAFETY: a build script has one thread until `build_ebpf` starts its own.
    unsafe {
        env::set_var("RUSTC_BOOTSTRAP", "1");
        // Its progress would be shown as warnings.
        env::set_var("CARGO_TERM_QUIET", "true");
    }
    let root = workspace.join("relay-ebpf");
    aya_build::build_ebpf(
        [Package {
            name: "relay-ebpf",
            root_dir: root.to_str().context("the workspace's path is not UTF-8")?,
            no_default_features: true,
            features: &[feature],
        }],
        Toolchain::Custom(TOOLCHAIN),
    )
}

fn skipped() -> bool {
    env::var_os("AYA_BUILD_SKIP").is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true"))
}

/// Puts the workspace's own tools first on the path and makes sure that the
/// BPF linker is somewhere on it.
fn find_linker(workspace: &Path) -> Result<()> {
    let tools = workspace.join(".tools/bin");
    println!("cargo:rerun-if-changed={}", tools.join("bpf-linker").display());
    let old = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&old).collect();
    if tools.is_dir() {
        folders.insert(0, tools);
    }
    ensure!(
        folders.iter().any(|folder| folder.join("bpf-linker").is_file()),
        "bpf-linker is neither in .tools/bin nor on PATH: run `cargo xtask setup` \
         (or set AYA_BUILD_SKIP=1 to build without the XDP program)"
    );
    // SAFETY: as in `build`.
    unsafe { env::set_var("PATH", env::join_paths(folders)?) };
    Ok(())
}
