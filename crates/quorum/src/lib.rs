//! KRaft: quorum state, metadata image and snapshots. Events in, commands out.
