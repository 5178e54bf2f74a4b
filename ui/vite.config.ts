import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react(), tailwindcss()],
  server: {
    host: "127.0.0.1",
    proxy: { "/api": "http://127.0.0.1:8080", "/badge": "http://127.0.0.1:8080", "/status": "http://127.0.0.1:8080" },
  },
  build: {
    outDir: "dist",
    // The policy of the server allows no data: scripts or styles, and small icons are inline in the markup anyway.
    assetsInlineLimit: 0,
    manifest: ".vite/manifest.json", // read, then removed, by scripts/finish.mjs
    modulePreload: { polyfill: false },
    target: "es2022",
  },
});
