"""Full directories of the warehouse -> bundles: planned, built, proved, published; and what a bundle looks like."""
