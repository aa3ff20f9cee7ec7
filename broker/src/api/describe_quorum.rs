//! DescribeQuorum (55).
