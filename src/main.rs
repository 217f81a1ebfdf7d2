//! The binary: allocator, and one match on what was asked.
#[global_allocator]
static ALLOCATOR: edge_io::alloc::Allocator = edge_io::alloc::Allocator;

fn main() -> std::process::ExitCode {
    edge_io::alloc::return_memory_soon();
    edge::cli::main()
}
