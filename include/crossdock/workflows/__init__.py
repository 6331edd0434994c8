"""The step engine: flows of steps with retries, unknown outcomes and undo. It knows nothing of orders."""
