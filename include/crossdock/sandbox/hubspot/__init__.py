"""A simulated CRM with the shape of HubSpot's API: contacts, read with a private app's token."""
