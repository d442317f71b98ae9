"""What in the manifests is made from elsewhere: `python -m deploy.kubernetes` writes it anew."""
