// The settings: `config = { file = "…" }` under `[plugins.PLUGIN_NAME]`, which the agent gives to the plugin as JSON.

export const DEFAULT_FILE = "/proc/stat";

export interface Settings {
  /** The path of the file to read. */
  file: string;
}

/** A wrong key, and the remedy. */
export interface Wrong {
  key: string;
  message: string;
}

/** The settings, or all wrong keys. */
export function readSettings(config: string): Settings | Wrong[] {
  const values: Record<string, unknown> = JSON.parse(config);
  const settings: Settings = { file: DEFAULT_FILE };
  const wrong: Wrong[] = [];
  for (const [key, value] of Object.entries(values)) {
    if (key !== "file") {
      wrong.push({ key, message: "unknown key; remove it, or use one of file" });
    } else if (typeof value !== "string" || value === "") {
      wrong.push({ key, message: "write a path" });
    } else {
      settings.file = value;
    }
  }
  return wrong.length > 0 ? wrong : settings;
}
