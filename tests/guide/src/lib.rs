//! What the tests of the guide and of the other stories share: a control plane that schedules.
