"""The annotation app: pages and a REST API, thin, over the store."""
