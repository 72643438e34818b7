//! Holds the direction of imports: `main -> cli -> daemon -> {api, media, net,
//! store, datapath, …} -> engine`, and the kernel's ABI to `datapath` alone.
//!
//! The engine-only build proves that the engine needs none of the crates that
//! do I/O; this check holds the layers above it to their order. It reads the
//! token stream of each source file, macros' arguments included, and resolves
//! every path that starts with `crate`, `super` or `self`; comments and strings
//! are no tokens, so they cannot mislead it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module at the crate's top level, and those that it may name besides itself.
const MAY_NAME: [(&str, &[&str]); 11] = [
    ("engine", &[]),
    // Speaks of the media path's choice, of queries to the store, of who may use the socket.
    ("api", &["datapath", "engine", "settings", "store"]),
    // Its plain sockets are bound, and a holder of their port named, as those of signalling.
    ("datapath", &["engine", "net"]),
    ("media", &["engine"]),
    ("net", &["engine"]),
    // Reads what the media path and the transports are told at start.
    ("settings", &["datapath", "engine", "net"]),
    ("store", &["engine"]),
    ("telemetry", &["engine", "settings"]),
    ("daemon", &["api", "datapath", "engine", "media", "net", "settings", "store", "telemetry"]),
    ("cli", &["api", "daemon", "datapath", "engine", "net", "settings", "store", "telemetry"]),
    ("main", &["cli"]),
];

/// Only this module may know how the kernel's maps are laid out.
const KNOWS_THE_ABI: &str = "datapath";

/// Checks the control plane's sources; says how many files were read.
pub(crate) fn check(sources: &Path) -> Result<usize> {
    let mut files = Vec::new();
    collect(sources, &mut files)?;
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let shown = file.strip_prefix(sources).unwrap_or(file);
        let found = violations(shown, &text).with_context(|| format!("cannot read {}", file.display()))?;
        wrong.extend(found.into_iter().map(|violation| format!("{}: {violation}", file.display())));
    }
    if wrong.is_empty() { Ok(files.len()) } else { Err(anyhow!("imports:\n  {}", wrong.join("\n  "))) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// A path that names what it must not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    line: usize,
    from: String,
    names: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}` must not name `{}`", self.line, self.from, self.names)
    }
}

fn violations(file: &Path, text: &str) -> Result<BTreeSet<Violation>> {
    let tokens: TokenStream = text.parse().map_err(|error| anyhow!("not Rust: {error}"))?;
    let mut reader = Reader { top: String::new(), wrong: BTreeSet::new() };
    let mut module = module_of(file);
    // The library's root declares the modules and joins nothing.
    let Some(top) = module.first() else { return Ok(reader.wrong) };
    reader.top.clone_from(top);
    reader.walk(tokens, &mut module);
    Ok(reader.wrong)
}

/// `engine/io.rs` is `["engine", "io"]`; the library's root is empty.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

struct Reader {
    top: String,
    wrong: BTreeSet<Violation>,
}

impl Reader {
    fn walk(&mut self, tokens: TokenStream, module: &mut Vec<String>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.walk(group.stream(), module),
                TokenTree::Ident(word) if word == "mod" => {
                    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (tokens.get(at + 1), tokens.get(at + 2))
                    {
                        module.push(name.to_string());
                        self.walk(body.stream(), module);
                        module.pop();
                        at += 2;
                    }
                }
                TokenTree::Ident(word) => {
                    if let Some(base) = base(&word.to_string(), &tokens, &mut at, module) {
                        self.follow(&base, &tokens[at + 1..]);
                    }
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
    }

    /// Looks at what comes after a path's base: `::name`, or `::{name, …}`.
    fn follow(&mut self, base: &Base, rest: &[TokenTree]) {
        match base {
            Base::Abi => self.name("relay_ebpf", rest),
            Base::Inside => {}
            Base::Root => match rest {
                [colon, second, TokenTree::Ident(name), ..] if is_colon(colon) && is_colon(second) => {
                    self.name(&name.to_string(), rest);
                }
                [colon, second, TokenTree::Group(group), ..]
                    if is_colon(colon) && is_colon(second) && group.delimiter() == Delimiter::Brace =>
                {
                    let mut first = true;
                    for token in group.stream() {
                        match token {
                            TokenTree::Ident(name) if first => {
                                self.name(&name.to_string(), rest);
                                first = false;
                            }
                            TokenTree::Punct(punct) if punct.as_char() == ',' => first = true,
                            TokenTree::Ident(_)
                            | TokenTree::Punct(_)
                            | TokenTree::Literal(_)
                            | TokenTree::Group(_) => {}
                        }
                    }
                }
                _ => {}
            },
        }
    }

    fn name(&mut self, name: &str, near: &[TokenTree]) {
        let allowed = if name == "relay_ebpf" {
            self.top == KNOWS_THE_ABI
        } else {
            let list = MAY_NAME.iter().find(|(top, _)| *top == self.top).map_or(&[][..], |(_, list)| list);
            name == self.top || list.contains(&name)
        };
        if !allowed {
            let line = near.first().map_or(0, |token| token.span().start().line);
            self.wrong.insert(Violation { line, from: self.top.clone(), names: name.to_owned() });
        }
    }
}

/// Where a path starts.
enum Base {
    /// At the crate's root: the next name is a top-level module.
    Root,
    /// Within the same top-level module.
    Inside,
    /// In the crate of the kernel program.
    Abi,
}

/// Recognises a path's base at `at`, and moves `at` to its last word.
fn base(word: &str, tokens: &[TokenTree], at: &mut usize, module: &[String]) -> Option<Base> {
    let path_goes_on =
        |at: usize| matches!(tokens.get(at + 1..at + 3), Some([a, b]) if is_colon(a) && is_colon(b));
    match word {
        "crate" | "vizard" if path_goes_on(*at) => Some(Base::Root),
        "relay_ebpf" => Some(Base::Abi),
        "super" | "self" if path_goes_on(*at) => {
            let mut depth = module.len();
            if word == "super" {
                depth = depth.saturating_sub(1);
            }
            while path_goes_on(*at)
                && matches!(tokens.get(*at + 3), Some(TokenTree::Ident(next)) if next == "super")
            {
                depth = depth.saturating_sub(1);
                *at += 3;
            }
            Some(if depth == 0 { Base::Root } else { Base::Inside })
        }
        _ => None,
    }
}

fn is_colon(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(file: &str, text: &str) -> Vec<String> {
        violations(Path::new(file), text).unwrap().into_iter().map(|violation| violation.names).collect()
    }

    #[test]
    fn downward_paths_are_fine() {
        let text =
            "use crate::engine::{io::Input, Engine}; use crate::{datapath, store::Store}; use super::clock;";
        assert!(names("daemon/event_loop.rs", text).is_empty());
        assert!(names("datapath/xdp.rs", "use relay_ebpf::abi; use crate::engine::flow;").is_empty());
        assert!(
            names("engine/io.rs", "use super::cdr::Cdr; pub(crate) fn f() {} mod tests { use super::*; }")
                .is_empty()
        );
    }

    #[test]
    fn upward_and_sideways_paths_are_found() {
        assert_eq!(names("engine/io.rs", "use crate::store::Store;"), ["store"]);
        assert_eq!(names("store/sled.rs", "use crate::{engine::io, datapath::Datapath};"), ["datapath"]);
        assert_eq!(names("net/udp.rs", "fn f() { crate::daemon::start() }"), ["daemon"]);
        assert_eq!(names("daemon/mod.rs", "use super::cli::Exit;"), ["cli"]);
        assert_eq!(names("main.rs", "use vizard::daemon;"), ["daemon"]);
    }

    #[test]
    fn relative_paths_are_resolved_through_inline_modules() {
        assert_eq!(names("engine/io.rs", "mod tests { use super::super::super::store; }"), ["store"]);
        assert!(names("engine/io.rs", "mod tests { use super::super::store; }").is_empty());
    }

    #[test]
    fn macros_are_read_and_comments_are_not() {
        assert_eq!(names("engine/mod.rs", "fn f() { info!(\"x\", crate::net::LIMIT); }"), ["net"]);
        assert!(
            names(
                "engine/mod.rs",
                "//! `crate::net::LIMIT`\n// crate::store\nconst A: &str = \"crate::net\";"
            )
            .is_empty()
        );
    }

    #[test]
    fn the_abi_belongs_to_the_datapath() {
        assert_eq!(names("daemon/mod.rs", "use relay_ebpf::abi::FlowKey;"), ["relay_ebpf"]);
    }

    #[test]
    fn a_violation_names_its_line() {
        let found = violations(Path::new("engine/io.rs"), "//! Docs.\n\nuse crate::net;").unwrap();
        assert_eq!(found.first().map(|violation| violation.line), Some(3));
    }
}
