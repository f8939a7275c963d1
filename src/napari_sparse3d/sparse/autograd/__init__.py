"""How torch sees the operators: what each does, its gradient, and its schema for tracing."""
