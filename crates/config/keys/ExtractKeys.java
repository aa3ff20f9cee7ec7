import java.lang.reflect.Field;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.server.config.AbstractKafkaConfig;
import org.apache.kafka.server.config.DynamicBrokerConfig;
import org.apache.kafka.server.config.DynamicConfig;
import org.apache.kafka.server.config.ServerTopicConfigSynonyms;
import org.apache.kafka.storage.internals.log.LogConfig;

/**
 * Writes what Apache Kafka knows of its configuration keys as tab-separated values: facts only, no prose.
 *
 * Columns: scope, name, type, default, valid values, dynamic update mode, visibility, synonyms.
 * See keys/README.md for how to run it.
 */
public final class ExtractKeys {
    public static void main(String[] args) throws Exception {
        System.out.println("# scope\tname\ttype\tdefault\tvalid\tmode\tvisibility\tsynonyms");
        Map<String, String> modes = DynamicBrokerConfig.dynamicConfigUpdateModes();
        Map<String, ConfigDef.ConfigKey> broker = new TreeMap<>(AbstractKafkaConfig.CONFIG_DEF.configKeys());
        Map<String, ConfigDef.ConfigKey> dynamicOnly = new TreeMap<>(DynamicConfig.Broker.configKeys());
        dynamicOnly.keySet().removeAll(broker.keySet());
        for (ConfigDef.ConfigKey key : broker.values())
            row("broker", key, modes, "public", String.join(",", DynamicBrokerConfig.brokerConfigSynonyms(key.name, false)));
        for (ConfigDef.ConfigKey key : dynamicOnly.values())
            row("broker", key, modes, "dynamic-only", key.name);
        for (ConfigDef.ConfigKey key : new TreeMap<>(LogConfig.configDefCopy().configKeys()).values())
            row("topic", key, Map.of(), "public", topicSynonyms(key.name));
    }

    private static String topicSynonyms(String name) {
        var synonyms = ServerTopicConfigSynonyms.ALL_TOPIC_CONFIG_SYNONYMS.get(name);
        return synonyms == null ? "" : String.join(",", synonyms.stream().map(s -> s.name()).toList());
    }

    private static void row(String scope, ConfigDef.ConfigKey key, Map<String, String> modes, String visibility, String synonyms)
            throws Exception {
        String value = !key.hasDefault() ? "required"
            : key.defaultValue == null ? "null" : "=" + ConfigDef.convertToString(key.defaultValue, key.type);
        System.out.println(String.join("\t", scope, key.name, key.type.name().toLowerCase(), value, valid(key),
            modes.getOrDefault(key.name, "read-only"), key.internalConfig ? "internal" : visibility, synonyms));
    }

    private static String valid(ConfigDef.ConfigKey key) throws Exception {
        Object validator = key.validator;
        if (validator == null) return "";
        return switch (validator.getClass().getSimpleName()) {
            case "Range" -> "range:" + text(field(validator, "min")) + ":" + text(field(validator, "max"));
            case "ValidString" -> "in:" + join(field(validator, "validStrings"));
            case "CaseInsensitiveValidString" -> "in-any-case:" + join(field(validator, "validStrings"));
            case "ValidList" -> ((boolean) field(validator, "isEmptyAllowed") ? "list:" : "list-not-empty:")
                + join(field(field(validator, "validString"), "validStrings"));
            case "NonEmptyString" -> "not-empty";
            case "ThrottledReplicaListValidator" -> "throttled-replicas";
            case "LambdaValidator" -> key.name.equals("compression.gzip.level") ? "range-or:1:9:-1" : "";
            default -> "";
        };
    }

    private static Object field(Object object, String name) throws Exception {
        for (Field field : object.getClass().getDeclaredFields())
            if (field.getName().equals(name)) {
                field.setAccessible(true);
                return field.get(object);
            }
        throw new NoSuchFieldException(name);
    }

    private static String text(Object value) {
        return value == null ? "" : value.toString();
    }

    private static String join(Object strings) {
        return String.join("|", List.copyOf((Collection<String>) strings).stream().sorted().toList());
    }
}
