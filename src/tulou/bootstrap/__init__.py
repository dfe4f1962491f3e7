"""Bootstrap: the one place where concrete classes meet; `tulou.toml` in, wired objects out."""
