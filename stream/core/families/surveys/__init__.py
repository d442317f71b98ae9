"""What people say: CSAT, NPS, CES and CXI."""
