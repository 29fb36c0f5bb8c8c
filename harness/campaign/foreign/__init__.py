"""Films made elsewhere: read, put into a campaign as an arm, beside arms of its own or alone."""
