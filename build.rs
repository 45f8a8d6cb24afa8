//! Passes what `nginx-sys` found out about the NGINX that is built for on to the compiler, and what
//! NGINX's own compiler makes of NGINX's structs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

mod build_layout;
mod build_version;

use build_layout::{Compiler, Layout};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build_layout.rs");
    println!("cargo::rerun-if-changed=build_version.rs");
    println!("cargo::rerun-if-changed=src/nginx/layout.c");
    println!("cargo::rerun-if-changed=src/nginx/layout.h");

    // `nginx-sys` hands these over because it is a direct dependency with `links = "nginx"`.
    let features = env::var("DEP_NGINX_FEATURES").unwrap_or_default();
    let known = env::var("DEP_NGINX_FEATURES_CHECK").unwrap_or_else(|_| "any()".into());
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values({known}))");
    for feature in features.split(',').filter(|feature| !feature.is_empty()) {
        println!("cargo::rustc-cfg=ngx_feature=\"{feature}\"");
    }

    // Changes between the versions that the module supports.
    let version = env::var("DEP_NGINX_VERSION_NUMBER").unwrap_or_default();
    let Ok(version) = version.parse::<u32>() else {
        println!("cargo::error=nginx-sys does not tell the version of NGINX: \"{version}\"");
        return;
    };
    println!("cargo::rerun-if-env-changed={}", build_version::ALLOW);
    if let Err(why) = build_version::check(version, env::var(build_version::ALLOW).ok().as_deref())
    {
        println!("cargo::error={why}");
        return;
    }
    println!("cargo::rustc-check-cfg=cfg(ngx_table_elt_next)");
    if version >= 1_023_000 {
        // ngx_table_elt_t.next: header fields of one name are linked.
        println!("cargo::rustc-cfg=ngx_table_elt_next");
    }

    if let Err(why) = write_layout() {
        for line in why.lines() {
            println!("cargo::error={line}");
        }
    }
}

/// Writes what `src/nginx/layout.rs` includes.
fn write_layout() -> Result<(), String> {
    let variable = |name: &str| env::var(name).map_err(|_| format!("{name} is not set"));
    let objs = PathBuf::from(variable("DEP_NGINX_BUILD_DIR")?);
    let makefile = objs.join("Makefile");
    for file in [&makefile, &objs.join("ngx_auto_config.h")] {
        println!("cargo::rerun-if-changed={}", file.display());
    }

    // NGINX's makefile is run in the folder of its source, which is above src/core.
    let includes = variable("DEP_NGINX_INCLUDE")?;
    let source = env::split_paths(&includes)
        .find(|path| path.ends_with("src/core"))
        .and_then(|path| path.ancestors().nth(2).map(Path::to_owned))
        .ok_or("no src/core among NGINX's folders of headers")?;

    let compiler = Compiler::of_makefile(&makefile, source, other_compiler()?)?;
    let crate_dir = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let object = compiler.compile(&crate_dir.join("src/nginx/layout.c"), &out.join("layout.o"))?;
    let is_big_endian = variable("CARGO_CFG_TARGET_ENDIAN")? == "big";
    let layout = Layout::read(&object, is_big_endian)
        .map_err(|why| format!("{}: {why}", out.join("layout.o").display()))?;
    fs::write(out.join("layout.rs"), layout.to_rust()).map_err(|e| format!("layout.rs: {e}"))
}

/// The C compiler that the environment names for the target, as it does for crate `cc`.
fn other_compiler() -> Result<Option<String>, String> {
    let target = env::var("TARGET").map_err(|_| "TARGET is not set")?;
    let names = [
        format!("CC_{target}"),
        format!("CC_{}", target.replace(['-', '.'], "_")),
        "TARGET_CC".into(),
        "CC".into(),
    ];
    let mut found = None;
    for name in names {
        println!("cargo::rerun-if-env-changed={name}");
        let value = env::var(&name).ok().filter(|value| !value.is_empty());
        found = found.or(value);
    }
    Ok(found)
}
