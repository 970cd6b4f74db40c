"""Notices to people: what a day brought, or what failed, to chat, e-mail and SNS."""
