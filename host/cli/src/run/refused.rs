//! Flags of the Go controller whose feature this version does not have. Not to know one would stop
//! a Deployment that only turns it off; to ignore one that turns it on would be worse.

use clap::Args;

use crate::input::BadInput;

#[derive(Debug, Args)]
#[command(next_help_heading = "Not in this version: only what turns them off is accepted")]
#[group(skip)]
pub struct Options {
    /// Where profiles are served; 0 or nothing: nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    pprof_bind_address: String,
}

impl Options {
    /// Is something asked for that this version does not do?
    pub fn check(self) -> Result<(), BadInput> {
        let Self { pprof_bind_address } = self;
        if matches!(pprof_bind_address.as_str(), "" | "0") {
            return Ok(());
        }
        Err(BadInput::one(
            "--pprof-bind-address: this version does not have profiling: leave it out".to_owned(),
        ))
    }
}
