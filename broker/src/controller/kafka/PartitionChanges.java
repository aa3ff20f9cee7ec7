// Asks Apache Kafka's own PartitionChangeBuilder what follows from random changes of random partitions, one a line.
// Written for Kafka 4.3.1; partition_change_tests.rs reads what it prints (partition_changes.txt).
//
//   javac -cp "$KAFKA/libs/*" -d out PartitionChanges.java
//   java -cp "out:$KAFKA/libs/*" org.apache.kafka.controller.PartitionChanges 3000 1 > partition_changes.txt

package org.apache.kafka.controller;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.stream.Collectors;

import org.apache.kafka.common.DirectoryId;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.metadata.PartitionChangeRecord;
import org.apache.kafka.metadata.LeaderRecoveryState;
import org.apache.kafka.metadata.PartitionRegistration;
import org.apache.kafka.server.common.ApiMessageAndVersion;
import org.apache.kafka.server.common.MetadataVersion;

public class PartitionChanges {
    static final Uuid TOPIC = new Uuid(7, 7);
    static Random random;

    public static void main(String[] args) {
        random = new Random(Long.parseLong(args[1]));
        int wanted = Integer.parseInt(args[0]);
        while (wanted > 0) {
            String line = line();
            if (line != null) {
                System.out.println(line);
                wanted--;
            }
        }
    }

    static String line() {
        short level = new short[] {11, 16, 30, 30, 30}[random.nextInt(5)];
        boolean elrEnabled = level == 30 && random.nextInt(3) > 0;
        int minIsr = 1 + random.nextInt(3);
        List<Integer> all = shuffled(List.of(1, 2, 3, 4, 5, 6));
        List<Integer> replicas = new ArrayList<>(all.subList(0, 1 + random.nextInt(5)));
        boolean moving = random.nextInt(4) == 0;
        List<Integer> adding = moving ? some(replicas, 0.3) : List.of();
        List<Integer> removing = moving ? without(some(replicas, 0.3), adding) : List.of();
        List<Integer> isr = some(replicas, 0.6);
        if (isr.isEmpty() && !elrEnabled) isr = List.of(replicas.get(0));
        List<Integer> elr = elrEnabled && random.nextInt(2) == 0 ? some(without(replicas, isr), 0.6) : List.of();
        List<Integer> lastKnown =
            elrEnabled && random.nextInt(3) == 0 ? List.of(replicas.get(random.nextInt(replicas.size()))) : List.of();
        int leader = isr.isEmpty() || random.nextInt(4) == 0 ? -1 : isr.get(random.nextInt(isr.size()));
        LeaderRecoveryState recovery =
            random.nextInt(6) == 0 ? LeaderRecoveryState.RECOVERING : LeaderRecoveryState.RECOVERED;
        List<Integer> active = some(all, 0.7);

        PartitionRegistration partition = new PartitionRegistration.Builder()
            .setReplicas(ints(replicas))
            .setDirectories(replicas.stream().map(id -> level < 17 ? DirectoryId.MIGRATING : directory(id)).toArray(Uuid[]::new))
            .setIsr(ints(isr)).setAddingReplicas(ints(adding)).setRemovingReplicas(ints(removing))
            .setElr(ints(elr)).setLastKnownElr(ints(lastKnown)).setLeader(leader)
            .setLeaderRecoveryState(recovery).setLeaderEpoch(5).setPartitionEpoch(9).build();

        int kind = random.nextInt(7);
        int one = replicas.get(random.nextInt(replicas.size()));
        List<Integer> acceptable = new ArrayList<>(active);
        if (kind == 0 || kind == 1) acceptable.remove((Integer) one);
        if (kind == 2) acceptable.add(one);
        PartitionChangeBuilder builder = new PartitionChangeBuilder(partition, TOPIC, 3,
            id -> acceptable.contains(id) && replicas.contains(id),
            MetadataVersion.fromFeatureLevel(level), Math.min(minIsr, replicas.size()), elrEnabled);
        builder.setDefaultDirProvider(PartitionChanges::directory);
        PartitionChangeBuilder.Election election = PartitionChangeBuilder.Election.ONLINE;
        if (random.nextInt(4) == 0) election = PartitionChangeBuilder.Election.UNCLEAN;
        if (kind == 5) election = PartitionChangeBuilder.Election.PREFERRED;
        builder.setElection(election);
        String change;
        switch (kind) {
            case 0:
                builder.setTargetIsr(without(isr, List.of(one)));
                change = "leave " + one;
                break;
            case 1:
                builder.setTargetIsr(without(isr, List.of(one))).setUncleanShutdownReplicas(List.of(one));
                change = "unclean " + one;
                break;
            case 2:
                change = "join " + one;
                break;
            case 3: {
                List<Integer> wanted = some(replicas, 0.7);
                if (leader >= 0 && !wanted.contains(leader)) wanted.add(leader);
                LeaderRecoveryState said = random.nextInt(4) == 0 ? LeaderRecoveryState.RECOVERED : recovery;
                builder.setTargetIsr(wanted).setTargetLeaderRecoveryState(said);
                change = "isr " + list(wanted) + " " + said.value();
                break;
            }
            case 4: {
                List<Integer> target = new ArrayList<>(shuffled(all).subList(0, 1 + random.nextInt(4)));
                List<Integer> original = without(replicas, adding);
                List<Integer> add = without(target, original);
                List<Integer> remove = without(original, target);
                List<Integer> both = new ArrayList<>(target);
                both.addAll(remove);
                builder.setTargetReplicas(both).setTargetAdding(add).setTargetRemoving(remove);
                change = "replicas " + list(both) + " " + list(add) + " " + list(remove);
                break;
            }
            case 5:
                change = "nothing";
                break;
            default:
                builder.setDirectory(one, directory(50 + one));
                change = "move " + one + " " + (50 + one);
        }
        Optional<ApiMessageAndVersion> built = builder.build();
        String outcome = "nothing";
        if (built.isPresent()) {
            PartitionChangeRecord record = (PartitionChangeRecord) built.get().message();
            // A partition without leader that loses a replica: Kafka then remembers "nobody" as the last known leader.
            if (record.lastKnownElr() != null && record.lastKnownElr().contains(-1)) return null;
            // A replica that is taken away stays eligible in Kafka, and not here.
            List<Integer> stay = record.replicas() == null ? replicas : record.replicas();
            if (!without(elr, stay).isEmpty()) return null;
            if (record.eligibleLeaderReplicas() != null && !stay.containsAll(record.eligibleLeaderReplicas())) return null;
            // Nor does it lead any more.
            if (!lastKnown.isEmpty() && record.leader() == lastKnown.get(0) && !stay.contains(record.leader())) return null;
            outcome = record.leader() + " " + list(record.isr()) + " " + list(record.replicas()) + " "
                + list(record.removingReplicas()) + " " + list(record.addingReplicas()) + " "
                + record.leaderRecoveryState() + " " + directories(record.directories()) + " "
                + list(record.eligibleLeaderReplicas()) + " " + list(record.lastKnownElr());
        }
        return level + " " + (elrEnabled ? 1 : 0) + " " + minIsr + " " + election + " " + list(active) + " | "
            + list(replicas) + " " + list(adding) + " " + list(removing) + " " + list(isr) + " " + list(elr) + " "
            + list(lastKnown) + " " + leader + " " + recovery.value() + " | " + change + " | " + outcome;
    }

    static Uuid directory(int id) {
        return new Uuid(0, 100 + id);
    }

    static List<Integer> shuffled(List<Integer> ids) {
        List<Integer> copy = new ArrayList<>(ids);
        Collections.shuffle(copy, random);
        return copy;
    }

    static List<Integer> some(List<Integer> ids, double share) {
        return shuffled(ids).stream().filter(id -> random.nextDouble() < share).collect(Collectors.toCollection(ArrayList::new));
    }

    static List<Integer> without(List<Integer> ids, List<Integer> excluded) {
        return ids.stream().filter(id -> !excluded.contains(id)).collect(Collectors.toCollection(ArrayList::new));
    }

    static int[] ints(List<Integer> ids) {
        return ids.stream().mapToInt(Integer::intValue).toArray();
    }

    static String list(List<Integer> ids) {
        if (ids == null) return "same";
        return ids.isEmpty() ? "none" : ids.stream().map(String::valueOf).collect(Collectors.joining(","));
    }

    static String directories(List<Uuid> ids) {
        if (ids == null) return "same";
        return ids.stream().map(id -> String.valueOf(id.getLeastSignificantBits() - 100)).collect(Collectors.joining(","));
    }
}
