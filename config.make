# The rule that runs cargo, at the end of NGINX's Makefile. Names come from `config`.

case "$NGX_OBJS" in
    /*) xspace_objs=$NGX_OBJS ;;
    *)  xspace_objs=$PWD/$NGX_OBJS ;;
esac

# A release tarball brings the crates with it. Then nothing is fetched.
xspace_vendored=
if [ -f "$xspace_source/vendor/config.toml" ]; then
    xspace_vendored="--config '$xspace_source/vendor/config.toml'"
fi

# cargo itself knows what has changed, so it is always asked. It leaves the library as it was if
# nothing has, and then nothing is linked again. It is asked in the module's directory, because
# its configuration files and rust-toolchain.toml are looked for there. The library has no
# tables for nginx to look up (no feature export-modules): NGINX's build makes these, in C.
#
# The empty command has make look at the library again. Without one it goes by the time from before
# cargo ran, and links the earlier one.
cat << END                                                    >> $NGX_MAKEFILE

$xspace_library:	xspace-cargo
	@:

.PHONY:	xspace-cargo
xspace-cargo:
	cd '$xspace_source' && \\
	NGINX_SOURCE_DIR='$PWD' NGINX_BUILD_DIR='$xspace_objs' \\
	'$xspace_cargo' rustc --release --locked $xspace_vendored \\
		--lib --crate-type staticlib --no-default-features --features links,lmdb,plays,s3 \\
		--target-dir '$xspace_objs/ngx_http_xspace_module'
END

if [ "$xspace_link" = DYNAMIC ]; then
    cat << END                                                >> $NGX_MAKEFILE

$NGX_OBJS${ngx_dirsep}ngx_http_xspace_module$ngx_modext:	$xspace_library
END
fi
