"""What people pay: orders and refunds."""
