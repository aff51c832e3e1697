"""Training in a frozen base: datasets, lessons, the one loop, and the layout prior's. Nothing imports it unless asked."""
