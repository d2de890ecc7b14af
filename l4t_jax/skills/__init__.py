"""Skills: what plans are made of. `library` computes them, `bfs` finds paths, `plan` codes their steps."""
