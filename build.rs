//! Passes what `nginx-sys` found out about the NGINX that is built for on to the compiler.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");

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
    println!("cargo::rustc-check-cfg=cfg(ngx_table_elt_next)");
    if version >= 1_023_000 {
        // ngx_table_elt_t.next: header fields of one name are linked.
        println!("cargo::rustc-cfg=ngx_table_elt_next");
    }
}
