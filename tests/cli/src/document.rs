//! What a document tells its reader to type.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::program::workspace;

/// The `sh` blocks of a page of this repository, in their order.
///
/// # Errors
/// The page cannot be read, has no such block, or one that does not end.
pub fn shell_blocks(page: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(workspace().join(page)).with_context(|| page.to_owned())?;
    let mut blocks = Vec::new();
    for rest in text.split("```sh\n").skip(1) {
        let (block, _) = rest
            .split_once("```")
            .with_context(|| format!("{page}: a block does not end"))?;
        blocks.push(block.to_owned());
    }
    ensure!(!blocks.is_empty(), "{page} tells nobody to type anything");
    Ok(blocks)
}
