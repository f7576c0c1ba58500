//! The real thing: the program, its listeners and its store, driven from outside.
//! One binary, so that it is linked once; one module per subject.

mod cli;
mod drain;
mod limits;
mod smuggling;
mod spoofing;
mod support;
mod upstream;
mod wire;
