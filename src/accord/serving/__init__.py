"""Models behind HTTP: a gateway that speaks OpenAI's protocol over engines of ours."""
