"""Classifiers of texts, such as toxicity, refusal and helpfulness."""
