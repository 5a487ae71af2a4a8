//! Rebuilds what embeds these folders when a file comes or goes in them.

fn main() {
    println!("cargo:rerun-if-changed=stdlib");
    println!("cargo:rerun-if-changed=lua");
}
