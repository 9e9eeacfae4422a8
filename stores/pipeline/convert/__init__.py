"""Staging -> HQ customers: accounts, their later events, and the balance of what arrived."""
