"""A simulated incoming webhook of Slack: it keeps messages in an inbox instead of showing them."""
