"""From a model that was measured to one that is served: gates, evidence, aliases."""
