"""The attack playbook: what can be tried against a live server, and what each answer shows."""
