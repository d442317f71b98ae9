"""Whose accounts there are: sign-ups, onboarding, subscriptions and memberships."""
