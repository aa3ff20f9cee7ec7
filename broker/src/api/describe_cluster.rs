//! DescribeCluster (60).
