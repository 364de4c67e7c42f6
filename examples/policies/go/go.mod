// The name under which wit-bindgen puts its packages.
module wit_component

go 1.25.0

require go.bytecodealliance.org/pkg v0.2.3
