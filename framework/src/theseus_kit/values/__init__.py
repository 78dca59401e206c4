"""Value types: everything that crosses a hook. Plain data, no behaviour of a platform."""
