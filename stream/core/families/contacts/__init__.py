"""Contacts: conversations of customers with support, how long they wait, and what is resolved."""
