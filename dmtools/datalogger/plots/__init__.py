"""The plot site: statistics and what is missing -> a Plotly figure a device, and a page of files that shows them."""
