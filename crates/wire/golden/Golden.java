import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.jar.JarFile;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.metadata.TopicRecord;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageSizeAccumulator;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.coordinator.common.runtime.CoordinatorRecord;
import org.apache.kafka.coordinator.group.GroupCoordinatorRecordSerde;
import org.apache.kafka.coordinator.group.generated.OffsetCommitKey;
import org.apache.kafka.coordinator.group.generated.OffsetCommitValue;
import org.apache.kafka.metadata.MetadataRecordSerde;
import org.apache.kafka.server.common.ApiMessageAndVersion;

/**
 * Writes what Apache Kafka's own classes make of every message at every version, for the tests of ottla-wire.
 * See README.md for how to run it.
 */
public class Golden {
    /** How the fields of a message are set. */
    enum Variant { DEFAULT, FILLED, NULLS, EDGE, TAGGED }

    /** Jar prefix to name of the file with its messages. */
    static final Map<String, String> JARS = new LinkedHashMap<>(Map.of(
        "kafka-clients-", "client",
        "kafka-metadata-", "metadata",
        "kafka-group-coordinator-4", "group",
        "kafka-transaction-coordinator-", "transaction",
        "kafka-share-coordinator-", "share",
        "kafka-storage-4", "storage",
        "kafka-raft-", "raft"));

    public static void main(String[] args) throws Exception {
        Path jars = Path.of(args[0]);
        Path out = Path.of(args[1]);
        Map<String, List<String>> files = new TreeMap<>();
        try (var listing = Files.list(jars)) {
            for (Path jar : listing.sorted().toList()) {
                for (var entry : JARS.entrySet()) {
                    if (jar.getFileName().toString().startsWith(entry.getKey())) {
                        for (Class<?> type : messages(jar)) {
                            files.computeIfAbsent(entry.getValue(), k -> new ArrayList<>()).addAll(lines(type));
                        }
                    }
                }
            }
        }
        files.put("frames", frames());
        files.put("errors", errors());
        files.put("api-keys", apiKeys());
        for (var file : files.entrySet()) {
            Files.write(out.resolve(file.getKey() + ".txt"), file.getValue());
        }
    }

    /** Records with what surrounds them in the metadata log, and in a coordinator's topic. */
    static List<String> frames() {
        TopicRecord topic = new TopicRecord().setName("orders").setTopicId(new Uuid(1, 2));
        ApiMessageAndVersion record = new ApiMessageAndVersion(topic, (short) 0);
        MetadataRecordSerde metadata = new MetadataRecordSerde();
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer framed = ByteBuffer.allocate(metadata.recordSize(record, cache));
        metadata.write(record, cache, new ByteBufferAccessor(framed));
        CoordinatorRecord commit = CoordinatorRecord.record(
            new OffsetCommitKey().setGroup("readers").setTopic("orders").setPartition(7),
            new ApiMessageAndVersion(new OffsetCommitValue().setOffset(42).setMetadata("m"), (short) 3));
        GroupCoordinatorRecordSerde group = new GroupCoordinatorRecordSerde();
        HexFormat hex = HexFormat.of();
        return List.of(
            "metadata " + hex.formatHex(framed.array()),
            "key " + hex.formatHex(group.serializeKey(commit)),
            "value " + hex.formatHex(group.serializeValue(commit)));
    }

    static List<String> errors() {
        return Arrays.stream(Errors.values())
            .map(e -> e.code() + " " + e.name() + " " + (e.exception() instanceof RetriableException))
            .toList();
    }

    /** Key, name, versions, highest stable version, header versions of each version. */
    static List<String> apiKeys() {
        List<String> lines = new ArrayList<>();
        for (ApiKeys key : ApiKeys.values()) {
            if (!key.hasValidVersion()) {
                continue;
            }
            StringBuilder headers = new StringBuilder();
            for (short v = key.oldestVersion(); v <= key.latestVersion(true); v++) {
                headers.append(' ').append(key.requestHeaderVersion(v)).append('/').append(key.responseHeaderVersion(v));
            }
            lines.add(key.id + " " + key.name + " " + key.oldestVersion() + " " + key.latestVersion(true) + " "
                + key.latestVersion(false) + headers);
        }
        return lines;
    }

    static List<Class<?>> messages(Path jar) throws Exception {
        List<Class<?>> types = new ArrayList<>();
        try (JarFile file = new JarFile(jar.toFile())) {
            for (String name : file.stream().map(e -> e.getName()).filter(n -> n.endsWith(".class")).sorted().toList()) {
                boolean generated = name.contains("/generated/") || name.contains("common/message/")
                    || name.contains("common/metadata/");
                if (!generated || name.contains("$")) {
                    continue;
                }
                Class<?> type = Class.forName(name.substring(0, name.length() - 6).replace('/', '.'));
                if (Message.class.isAssignableFrom(type) && !type.isInterface()) {
                    types.add(type);
                }
            }
        }
        return types;
    }

    static String schemaName(Class<?> type) {
        String name = type.getSimpleName();
        for (String kind : List.of("Request", "Response", "Header")) {
            if (name.endsWith(kind + "Data")) {
                return name.substring(0, name.length() - 4);
            }
        }
        return name;
    }

    /** One line "name from-to variant hex" for each run of versions with the same bytes. */
    static List<String> lines(Class<?> type) throws Exception {
        Message probe = (Message) type.getConstructor().newInstance();
        List<String> lines = new ArrayList<>();
        for (Variant variant : Variant.values()) {
            String previous = null;
            int from = 0;
            for (int v = probe.lowestSupportedVersion(); v <= probe.highestSupportedVersion(); v++) {
                String hex = encoded(type, variant, (short) v);
                if (!java.util.Objects.equals(hex, previous)) {
                    add(lines, type, from, v - 1, variant, previous);
                    from = v;
                    previous = hex;
                }
            }
            add(lines, type, from, probe.highestSupportedVersion(), variant, previous);
        }
        return lines;
    }

    static void add(List<String> lines, Class<?> type, int from, int to, Variant variant, String hex) {
        if (hex != null) {
            lines.add(schemaName(type) + " " + from + "-" + to + " " + variant.name().toLowerCase() + " " + hex);
        }
    }

    /** Null when the variant is like another one at this version, or cannot be written. */
    static String encoded(Class<?> type, Variant variant, short version) throws Exception {
        Set<String> others = new LinkedHashSet<>();
        String result = null;
        for (Variant each : Variant.values()) {
            Message message = filled(type, each, version);
            result = message == null ? null : hex(message, version);
            if (each == variant) {
                break;
            }
            others.add(result);
        }
        return result == null || others.contains(result) ? null : result;
    }

    /** A message with every field set that the version has; null if it cannot be written. */
    static Message filled(Class<?> type, Variant variant, short version) throws Exception {
        Message message = (Message) type.getConstructor().newInstance();
        if (variant != Variant.DEFAULT) {
            // Twice: some messages cannot be written before a later field is set.
            fillAll(message, variant, version);
            fillAll(message, variant, version);
            if (variant == Variant.TAGGED) {
                unknownTags(message, version);
            }
        }
        return hex(message, version) == null ? null : message;
    }

    static void fillAll(Message message, Variant variant, short version) throws Exception {
        for (Field field : message.getClass().getDeclaredFields()) {
            if (!Modifier.isStatic(field.getModifiers()) && !field.getName().startsWith("_")
                && !List.of("next", "prev").contains(field.getName())) {
                fill(message, field, variant, version);
            }
        }
    }

    static void unknownTags(Message message, short version) {
        message.unknownTaggedFields().add(new RawTaggedField(31, new byte[] {1, 2, 3}));
        message.unknownTaggedFields().add(new RawTaggedField(10000, new byte[0]));
        if (hex(message, version) == null) {
            message.unknownTaggedFields().clear();
        }
    }

    static void fill(Message message, Field field, Variant variant, short version) throws Exception {
        field.setAccessible(true);
        Object initial = field.get(message);
        for (Object candidate : candidates(message.getClass(), field, variant, version)) {
            if (set(message, field, candidate) && (hex(message, version) != null)) {
                return;
            }
            field.set(message, initial);
        }
    }

    /** Through the setter, which checks the range of unsigned numbers. */
    static boolean set(Message message, Field field, Object value) throws Exception {
        String name = "set" + field.getName().substring(0, 1).toUpperCase() + field.getName().substring(1);
        for (Method method : message.getClass().getMethods()) {
            if (method.getName().equals(name)) {
                try {
                    method.invoke(message, value);
                    return true;
                } catch (InvocationTargetException outOfRange) {
                    return false;
                }
            }
        }
        throw new IllegalStateException("no " + name + " in " + message.getClass());
    }

    /** Values to try, best first. */
    static List<Object> candidates(Class<?> owner, Field field, Variant variant, short version) throws Exception {
        List<Object> values = new ArrayList<>();
        if (variant == Variant.NULLS && !field.getType().isPrimitive() && field.getType() != Uuid.class) {
            values.add(null);
        }
        int seed = Math.abs((owner.getSimpleName() + field.getName()).hashCode() % 97) + 1;
        if (variant == Variant.EDGE) {
            values.addAll(extremes(field, seed));
        }
        values.add(value(field.getGenericType(), field.getType(), seed, variant, version, 0));
        return values;
    }

    static List<Object> extremes(Field field, int seed) throws Exception {
        boolean low = seed % 2 == 0;
        Class<?> type = field.getType();
        if (type == byte.class) return List.of(low ? Byte.MIN_VALUE : Byte.MAX_VALUE);
        if (type == short.class) return List.of(low ? Short.MIN_VALUE : Short.MAX_VALUE);
        if (type == int.class) return List.of(low ? Integer.MIN_VALUE : Integer.MAX_VALUE, 65535);
        if (type == long.class) return List.of(low ? Long.MIN_VALUE : Long.MAX_VALUE, 4294967295L);
        if (type == double.class) return List.of(low ? -0.0 : Double.MIN_VALUE);
        if (type == String.class) return List.of(seed % 8 == 0 ? "x".repeat(200) : "");
        if (type == byte[].class) return List.of(new byte[0]);
        if (type == ByteBuffer.class) return List.of(ByteBuffer.allocate(0));
        if (BaseRecords.class.isAssignableFrom(type)) return List.of(MemoryRecords.EMPTY);
        if (field.getGenericType() instanceof ParameterizedType list && !isMessage(list.getActualTypeArguments()[0])) {
            return List.of(new ArrayList<>());
        }
        return List.of();
    }

    @SuppressWarnings("unchecked")
    static Object value(Type generic, Class<?> type, int seed, Variant variant, short version, int index) throws Exception {
        int n = seed + index;
        if (type == boolean.class) return index % 2 == 0;
        if (type == byte.class || type == Byte.class) return (byte) n;
        if (type == short.class || type == Short.class) return (short) (n * 3);
        if (type == int.class || type == Integer.class) return n * 5;
        if (type == long.class || type == Long.class) return n * 1000003L;
        if (type == double.class || type == Double.class) return n * 1.25;
        if (type == String.class) return "s" + n + (n % 3 == 0 ? "é€" : "");
        if (type == Uuid.class) return new Uuid(0x0123456789abcdefL * n, 0x1122334455667788L + n);
        if (type == byte[].class) return raw(n);
        if (type == ByteBuffer.class) return ByteBuffer.wrap(raw(n));
        if (BaseRecords.class.isAssignableFrom(type)) return MemoryRecords.readableRecords(ByteBuffer.wrap(raw(n)));
        if (Collection.class.isAssignableFrom(type)) {
            boolean plain = type == List.class;
            Collection<Object> values = plain ? new ArrayList<>() : (Collection<Object>) type.getConstructor().newInstance();
            Type holder = plain ? generic : type.getGenericSuperclass();
            Type element = ((ParameterizedType) holder).getActualTypeArguments()[0];
            Class<?> raw = (Class<?>) (element instanceof ParameterizedType p ? p.getRawType() : element);
            int count = isMessage(raw) && variant != Variant.FILLED ? 1 : 2;
            for (int i = 0; i < count; i++) {
                Object item = value(element, raw, seed, variant, version, i);
                if (item != null) {
                    values.add(item);
                }
            }
            return values;
        }
        return filled(type, variant, version);
    }

    static boolean isMessage(Type type) {
        return type instanceof Class<?> c && Message.class.isAssignableFrom(c);
    }

    static byte[] raw(int n) {
        return ("bytes" + n).getBytes(StandardCharsets.UTF_8);
    }

    /** The message's bytes; null where Kafka refuses to write it. */
    static String hex(Message message, short version) {
        try {
            ObjectSerializationCache cache = new ObjectSerializationCache();
            MessageSizeAccumulator size = new MessageSizeAccumulator();
            message.addSize(size, cache, version);
            ByteBuffer buffer = ByteBuffer.allocate(size.totalSize());
            message.write(new ByteBufferAccessor(buffer), cache, version);
            return HexFormat.of().formatHex(buffer.array(), 0, buffer.position());
        } catch (RuntimeException refused) {
            return null;
        }
    }
}
