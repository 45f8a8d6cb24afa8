//! What the module knows of the layout of C structs, by way of the build script: tried on structs of
//! the test's own, which a C compiler and a stand-in for bindgen see differently.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use xspace_tests::project_dir;

#[path = "../../build_layout.rs"]
mod build_layout;

use build_layout::{Compiler, Layout};

/// As in `ngx_http_request_t`: the bit fields begin in the middle of a storage unit, and some have no
/// room in what is left of one.
const STRUCT: &str = "
#include <stddef.h>
typedef struct {
    void               *pointer;
    unsigned short      port;
    unsigned            thirteen:13;
    unsigned            six:6;
    unsigned            one:1;
    unsigned            wide:28;
    unsigned            last:1;
    unsigned            whole:32;
    unsigned            eight:8;
    unsigned long long  behind;
} thing_t;
";

const BITS: [(&str, u32); 7] = [
    ("thirteen", 13),
    ("six", 6),
    ("one", 1),
    ("wide", 28),
    ("last", 1),
    ("whole", 32),
    ("eight", 8),
];

/// The same for Rust, with `PORT` for what bindgen would take the port for.
const BINDINGS: &str = "
#![allow(non_camel_case_types)]
#[repr(C)]
pub struct thing_t {
    pub pointer: *mut core::ffi::c_void,
    pub port: PORT,
    bits: [u8; 22],
    pub behind: u64,
}
";

/// What the module has around `src/nginx/layout.rs`.
const AROUND: &str = "
#![allow(dead_code)]
mod nginx {
    pub mod job { pub(super) struct ThreadTask; }
    #[path = \"LAYOUT\"]
    pub mod layout;
}
";

/// A directory for a test, removed at its end unless the test fails.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("xspace-layout-{name}-{}", process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// Runs a program here; what it says if it fails.
    fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<(), String> {
        let program = program.as_ref();
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&self.0)
            // For `include!` in layout.rs.
            .env("OUT_DIR", &self.0)
            .output()
            .unwrap_or_else(|e| panic!("can't run {}: {e}", program.display()));
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Runs the build script's part on records of a C file, with these CFLAGS in NGINX's Makefile.
    fn layout(&self, records: &str, cflags: &str) -> Result<Layout, String> {
        let macros = project_dir().join("src/nginx/layout.h");
        let source = self
            .write("layout.c", &format!("{STRUCT}#include \"{}\"\n{records}", macros.display()));
        let makefile = self.write(
            "Makefile",
            &format!("\nCC =\tcc\nCFLAGS =  -pipe {cflags}\nALL_INCS = -I src \\\n\t-I objs\n"),
        );
        let compiler = Compiler::of_makefile(&makefile, self.0.clone(), None)?;
        Layout::read(
            &compiler.compile(&source, &self.0.join("layout.o"))?,
            cfg!(target_endian = "big"),
        )
    }

    /// Compiles Rust code with the module's layout.rs, the layout and bindings.
    fn compile(
        &self,
        layout: &Layout,
        port: &str,
        code: &str,
        linked: &[&str],
    ) -> Result<(), String> {
        self.write("layout.rs", &layout.to_rust());
        self.write("bindings.rs", &BINDINGS.replace("PORT", port));
        let path = project_dir().join("src/nginx/layout.rs");
        let around = AROUND.replace("LAYOUT", path.to_str().expect("a UTF-8 path"));
        self.write("main.rs", &format!("{around}{code}"));
        let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        let edition = ["--edition", "2024", "--crate-name"];
        let bindings = ["nginx_sys", "--crate-type", "rlib", "bindings.rs"];
        self.run(&rustc, &[&edition[..], &bindings].concat())?;
        let main = ["main", "--extern", "nginx_sys=libnginx_sys.rlib", "main.rs"];
        self.run(&rustc, &[&edition[..], &main, linked].concat())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // It is a temporary directory.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// The records of all fields of the struct.
fn records() -> String {
    let bits: Vec<_> = BITS.iter().map(|(name, _)| format!("BITS(thing_t, {name})\n")).collect();
    let bits = bits.concat();
    format!(
        "{bits}const xspace_record_t records[] = {{ FIELD(thing_t, port), FIELD(thing_t, behind), \
         SIZE(thing_t) }};\n"
    )
}

#[test]
fn bit_fields_are_where_the_compiler_has_them() {
    let folder = Folder::new("bits");
    let layout = folder.layout(&records(), "-O -W -Wall -Werror").expect("a layout");
    assert_eq!(layout.bits.len(), BITS.len());

    // C reads and writes each field as it does, Rust as the layout says, and they agree.
    let mut c = STRUCT.to_owned();
    let mut declared = String::new();
    let mut tried = String::new();
    for (name, width) in BITS {
        c += &format!("unsigned get_{name}(const thing_t *t) {{ return t->{name}; }}\n");
        c += &format!("void set_{name}(thing_t *t, unsigned v) {{ t->{name} = v; }}\n");
        declared += &format!("fn get_{name}(t: *const thing_t) -> u32;\n");
        declared += &format!("fn set_{name}(t: *mut thing_t, v: u32);\n");
        tried += &format!(
            "try_field(nginx::layout::thing_t::{name}, get_{name}, set_{name}, {width});\n"
        );
    }
    let object = folder.write("accessors.c", &c);
    folder.run("cc", &["-c", object.to_str().expect("a UTF-8 path")]).expect("accessors");
    let main = format!(
        "use nginx_sys::thing_t;
        unsafe extern \"C\" {{ {declared} }}
        const SIZE: usize = size_of::<thing_t>();
        unsafe fn bytes(t: *const thing_t) -> [u8; SIZE] {{ unsafe {{ t.cast::<[u8; SIZE]>().read() }} }}
        unsafe fn try_field(
            field: nginx::layout::BitField<thing_t>,
            get: unsafe extern \"C\" fn(*const thing_t) -> u32,
            set: unsafe extern \"C\" fn(*mut thing_t, u32),
            width: u32,
        ) {{
            let max = u32::MAX >> (32 - width);
            for background in [0u8, 0xff, 0x5a] {{
                for value in [0, 1, max, max & 0x2a2a_2a2a, max / 2, u32::MAX] {{ unsafe {{
                    let mut ours = std::mem::MaybeUninit::<thing_t>::uninit();
                    let mut theirs = std::mem::MaybeUninit::<thing_t>::uninit();
                    let (ours, theirs) = (ours.as_mut_ptr(), theirs.as_mut_ptr());
                    ours.cast::<u8>().write_bytes(background, SIZE);
                    theirs.cast::<u8>().write_bytes(background, SIZE);
                    field.set(ours, value);
                    set(theirs, value);
                    assert_eq!(bytes(ours), bytes(theirs));
                    assert_eq!(get(ours), value & max);
                    assert_eq!(field.get(theirs), value & max);
                    assert_eq!(field.is_set(theirs), value & max != 0);
                }} }}
            }}
        }}
        fn main() {{ unsafe {{ {tried} }} }}"
    );
    folder.compile(&layout, "u16", &main, &["-C", "link-arg=accessors.o"]).expect("a program");
    folder.run(folder.0.join("main"), &[]).expect("fields that are the same in both languages");
}

#[test]
fn a_field_elsewhere_in_the_bindings_fails_the_build() {
    let folder = Folder::new("elsewhere");
    let layout = folder.layout(&records(), "").expect("a layout");
    let compile = |layout, port| folder.compile(layout, port, "fn main() {}", &[]);
    compile(&layout, "u16").expect("bindings that are right");

    let said = compile(&layout, "u8").expect_err("a field of another size");
    assert!(said.contains("thing_t.port has 2 bytes for NGINX's compiler"), "{said}");
    let said = compile(&layout, "u128").expect_err("a field that moves others");
    for wrong in ["thing_t.port is at byte 8", "thing_t.behind is at byte", "thing_t has 40 bytes"]
    {
        assert!(said.contains(wrong), "{wrong}: {said}");
    }

    // A bit field behind the struct's end.
    let mut beyond = layout.clone();
    beyond.bits.get_mut("thing_t.one").expect("a bit field").offset = 40;
    let said = compile(&beyond, "u16").expect_err("a bit field that is nowhere");
    assert!(said.contains("behind the end of its struct"), "{said}");
}

#[test]
fn nginx_may_be_built_with_any_options() {
    let folder = Folder::new("options");
    let plain = folder.layout(&records(), "").expect("a layout");
    for cflags in [
        "-O2 -g3 -flto",
        "-fsanitize=address,undefined",
        "--coverage -fprofile-arcs",
        "-Werror=unknown -Wno-such-warning -Wp,-D_FORTIFY_SOURCE=2 -O1",
        "-DNAME=\\\"quoted\\\" -D'WORDS=a b' -ffunction-sections -fdata-sections -fPIC",
        "-std=c99 -pedantic-errors -Wall -Wextra -Werror",
        "-m32 -malign-double",
    ] {
        match folder.layout(&records(), cflags) {
            // What another ABI is comes out as such: only a compiler for it is needed.
            Ok(layout) if cflags.starts_with("-m32") => {
                assert_eq!(layout.fields["thing_t.port"], (4, 2));
            }
            Err(_) if cflags.starts_with("-m32") => {}
            layout => assert_eq!(layout.as_ref(), Ok(&plain), "{cflags}"),
        }
    }
}

#[test]
fn what_cannot_be_found_out_fails_the_build() {
    let folder = Folder::new("unknown");
    for (records, said) in [
        ("BITS(thing_t, missing)", "missing"),
        ("const int nothing = 1;", "the object has no records"),
        ("#error told\n", "told"),
        // Not what a struct has: two pieces.
        (
            "typedef union { struct { unsigned a:1; unsigned :3; unsigned b:1; } f; unsigned field:5; } \
             two_t; const struct { xspace_record_t r; two_t all; two_t lowest; } x = \
             { { \"\\001xspace bits\", \"two_t.field\", DIGITS(128), DIGITS(132) }, \
             { .f = { 1, 1 } }, { .f = { 1, 0 } } };",
            "the bits of two_t.field are not next to each other",
        ),
        (
            "const xspace_record_t r[] = { FIELD(thing_t, port), \
             { \"\\001xspace field\", \"thing_t.port\", DIGITS(9), DIGITS(2) } };",
            "thing_t.port is in the object twice",
        ),
    ] {
        let error = folder.layout(records, "").expect_err(records);
        assert!(error.contains(said), "{records}: {error}");
    }
}
