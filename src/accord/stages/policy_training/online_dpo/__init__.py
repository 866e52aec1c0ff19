"""Online DPO: pairs of the policy's own responses, judged by a reward while it learns."""
